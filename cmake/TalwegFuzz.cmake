# tw_fuzz(NAME SOURCES fuzz_x.c ... ROOMS tw_x ...)
# A target for hostile bytes: fuzz_<NAME>, whose sources define
# LLVMFuzzerTestOneInput, and the test fuzz/<NAME> that runs it over every file of
# tests/fuzz/corpus/<NAME>. With TALWEG_FUZZ it is a libFuzzer program (to search:
# `fuzz_job -max_total_time=60 tests/fuzz/corpus/job`), else the same code with the
# plain main of tests/fuzz/replay_main.c, so that the corpora run in every CI.
function(tw_fuzz name)
  cmake_parse_arguments(ARG "" "" "SOURCES;ROOMS;LIBRARIES" ${ARGN})
  set(program fuzz_${name})
  set(corpus ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
  add_executable(${program} ${ARG_SOURCES})
  target_link_libraries(${program} PRIVATE ${ARG_ROOMS} ${ARG_LIBRARIES})
  if(TALWEG_FUZZ)
    target_link_options(${program} PRIVATE -fsanitize=fuzzer)
    add_test(NAME fuzz/${name} COMMAND ${program} -runs=0 ${corpus})
  else()
    target_sources(${program} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.c)
    add_test(NAME fuzz/${name} COMMAND ${program} ${corpus})
  endif()
  set_tests_properties(fuzz/${name} PROPERTIES LABELS fuzz TIMEOUT 300)
endfunction()
