# Settings that hold for every target, and the two words the rooms use.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug or Release" FORCE)
endif()

option(TALWEG_TESTS "Build the tests" ON)
option(TALWEG_EXAMPLES "Build the examples" ON)
option(TALWEG_FUZZ "Build the libFuzzer targets (needs clang)" OFF)
option(TALWEG_WERROR "Warnings are errors" OFF)
set(TALWEG_SANITIZE "" CACHE STRING "Sanitizers, e.g. address,undefined or thread")
set(TALWEG_PROFILE off CACHE STRING "Profile: off, record or use (deploy/build-tuned)")

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
# Assertions stay on in every build: they cost nothing that can be measured, and a
# run that goes on after a bug of ours would not be exact. TALWEG_CHECKS adds the
# expensive ones.
set(CMAKE_C_FLAGS_RELEASE "-O3 -g" CACHE STRING "" FORCE)
set(CMAKE_C_FLAGS_DEBUG "-O1 -g -DTALWEG_CHECKS" CACHE STRING "" FORCE)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

include(GNUInstallDirs)
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# -ffp-contract=off everywhere: a fused multiply-add would give other bits on
# another instruction set (docs/determinism.md). The two -fno- flags let sqrtf
# vectorise and change no result.
add_library(talweg_flags INTERFACE)
target_include_directories(talweg_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
target_compile_definitions(talweg_flags INTERFACE _GNU_SOURCE TALWEG_VERSION="${PROJECT_VERSION}")
target_compile_options(
  talweg_flags
  INTERFACE -ffp-contract=off
            -fno-math-errno
            -fno-trapping-math
            -fno-strict-aliasing
            -Wall
            -Wextra
            -Wshadow
            -Wpointer-arith
            -Wstrict-prototypes
            -Wmissing-prototypes
            -Wwrite-strings
            -Wvla
            -Wno-unused-parameter
            $<$<BOOL:${TALWEG_WERROR}>:-Werror>)
if(CMAKE_BUILD_TYPE STREQUAL Release AND CMAKE_C_COMPILER_ID STREQUAL GNU AND NOT TALWEG_SANITIZE)
  # Events and effects are structs of some hundred bytes. gcc copies such ones by `rep movs`, which
  # takes the time of thirty instructions to begin.
  include(CheckCCompilerFlag)
  set(copies vector_loop:1024:noalign,libcall:-1:noalign)
  check_c_compiler_flag(-mmemcpy-strategy=${copies} TALWEG_HAS_STRATEGY)
  if(TALWEG_HAS_STRATEGY)
    target_compile_options(talweg_flags INTERFACE -mmemcpy-strategy=${copies}
                                                  -mmemset-strategy=${copies})
  endif()
  # The program is optimised as a whole: the way of a push leads through a hundred small functions
  # of many files. Objects hold both, code and what the whole is made of, so that libtalweg.a links
  # anywhere; the tests, which are many and small, take the code.
  include(CheckIPOSupported)
  check_ipo_supported(RESULT TALWEG_HAS_LTO OUTPUT ignored LANGUAGES C)
  if(TALWEG_HAS_LTO)
    target_compile_options(talweg_flags INTERFACE -flto=auto -ffat-lto-objects)
    target_link_options(talweg_flags INTERFACE
                        $<IF:$<BOOL:$<TARGET_PROPERTY:TALWEG_WHOLE>>,-flto=auto,-fno-lto>)
  endif()
endif()
if(TALWEG_SANITIZE)
  target_compile_options(talweg_flags INTERFACE -fsanitize=${TALWEG_SANITIZE}
                                                -fno-sanitize-recover=all -fno-omit-frame-pointer)
  # Instrumented code makes gcc see uninitialised values where there are none.
  target_compile_options(talweg_flags INTERFACE $<$<C_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  target_link_options(talweg_flags INTERFACE -fsanitize=${TALWEG_SANITIZE})
endif()
# Optimised by what the program was seen to do (deploy/build-tuned): `record` counts how often each
# branch is taken, `use` goes by that. Counts lie beside the objects, so both are of one folder.
# What was never run is built as without them, and no option here changes a result.
set(TALWEG_PROFILE_record -fprofile-generate -fprofile-update=prefer-atomic)
set(TALWEG_PROFILE_use -fprofile-use -fprofile-partial-training -Wno-missing-profile)
if(NOT TALWEG_PROFILE MATCHES "^(off|record|use)$")
  message(FATAL_ERROR "TALWEG_PROFILE is ${TALWEG_PROFILE}; it is off, record or use")
elseif(NOT TALWEG_PROFILE STREQUAL off)
  if(NOT CMAKE_BUILD_TYPE STREQUAL Release OR NOT CMAKE_C_COMPILER_ID STREQUAL GNU
     OR TALWEG_SANITIZE)
    message(FATAL_ERROR "TALWEG_PROFILE needs gcc, and a Release build without sanitizers")
  endif()
  target_link_options(talweg_flags INTERFACE ${TALWEG_PROFILE_${TALWEG_PROFILE}})
endif()
if(TALWEG_FUZZ)
  # That clang does not vectorise what it instruments is no fault of the source.
  target_compile_options(talweg_flags INTERFACE -fsanitize=fuzzer-no-link -Wno-pass-failed)
endif()

# tw_room(NAME SOURCES a.c ... [LOOPS regex] [ROOMS tw_base ...] [LIBRARIES uv ...])
# A folder of code: a static library, with what it needs from below and outside. Sources whose names
# match LOOPS spend their time in loops over tensors, which have any length: no profile is taken of
# them, since it would know those that it was trained with.
function(tw_room name)
  cmake_parse_arguments(ARG "" "LOOPS" "SOURCES;ROOMS;LIBRARIES" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC talweg_flags ${ARG_ROOMS} ${ARG_LIBRARIES})
  if(ARG_LOOPS)
    list(FILTER ARG_SOURCES EXCLUDE REGEX ${ARG_LOOPS})
  endif()
  set_property(SOURCE ${ARG_SOURCES} APPEND PROPERTY COMPILE_OPTIONS
                                                     ${TALWEG_PROFILE_${TALWEG_PROFILE}})
endfunction()

# After so long a test hangs. Many times what the slowest takes on a machine that is slow and
# busy: a test may fail for what it sees, never for how long it took.
set(TALWEG_TEST_SECONDS 1200)

# tw_test(NAME LABEL SOURCES a.c ... ROOMS tw_base ...)
# A cmocka program, run by ctest with that label. One that starts threads (it uses
# the client library, or says THREADS) also gets the label `threads`: tests/run
# runs those under the thread sanitizer too.
function(tw_test name label)
  cmake_parse_arguments(ARG "THREADS" "" "SOURCES;ROOMS;LIBRARIES" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_ROOMS} ${ARG_LIBRARIES} PkgConfig::CMOCKA)
  add_test(NAME ${label}/${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${label}/${name} PROPERTIES LABELS ${label} TIMEOUT ${TALWEG_TEST_SECONDS})
  if(ARG_THREADS OR "tw_worker_io" IN_LIST ARG_ROOMS OR "talweg_library" IN_LIST ARG_ROOMS)
    set_tests_properties(${label}/${name} PROPERTIES LABELS "${label};threads")
    set_property(GLOBAL APPEND PROPERTY TALWEG_THREAD_TESTS ${name})
  endif()
endfunction()

# tw_fuzz(fuzz_x SOURCES fuzz_x.c ROOMS tw_base ...)
# A file with LLVMFuzzerTestOneInput(). With TALWEG_FUZZ it becomes a libFuzzer
# program; else ctest replays its corpus, tests/fuzz/corpus/x.
function(tw_fuzz name)
  cmake_parse_arguments(ARG "" "" "SOURCES;ROOMS;LIBRARIES" ${ARGN})
  string(REGEX REPLACE "^fuzz_" "" corpus ${name})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE talweg_flags ${ARG_ROOMS} ${ARG_LIBRARIES})
  set_property(GLOBAL APPEND PROPERTY TALWEG_FUZZERS ${name})
  if(TALWEG_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
  else()
    target_sources(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus_runner.c)
    add_test(NAME fuzz/${name} COMMAND ${name} tests/fuzz/corpus/${corpus}
             WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(fuzz/${name} PROPERTIES LABELS fuzz TIMEOUT ${TALWEG_TEST_SECONDS})
  endif()
endfunction()
