tw_test(test_tensor unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_tensor.c ROOMS tw_tensor)
tw_test(test_layout unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_layout.c ROOMS tw_tensor)

pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
tw_test(test_safetensors unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_safetensors.c ROOMS tw_tensor LIBRARIES
        PkgConfig::JANSSON)

# The kernels once more, compiled without clones and for one instruction set each,
# under names that begin with it: the bits must be those of what we ship.
function(tw_kernels_for prefix)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;SYMBOLS;FLAGS" ${ARGN})
  add_library(${ARG_NAME} OBJECT ${ARG_SOURCES})
  target_link_libraries(${ARG_NAME} PRIVATE talweg_flags)
  target_compile_definitions(${ARG_NAME} PRIVATE TW_NO_CLONES)
  foreach(symbol ${ARG_SYMBOLS})
    target_compile_definitions(${ARG_NAME} PRIVATE ${symbol}=${prefix}_${symbol})
  endforeach()
  target_compile_options(${ARG_NAME} PRIVATE ${ARG_FLAGS})
endfunction()

set(TALWEG_KERNEL_SETS plain fast)
set(TALWEG_FLAGS_plain -O0)
set(TALWEG_FLAGS_fast -O3)
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  list(APPEND TALWEG_KERNEL_SETS v3 v4)
  set(TALWEG_FLAGS_v3 -O3 -march=x86-64-v3)
  set(TALWEG_FLAGS_v4 -O3 -march=x86-64-v4)
endif()

set(objects)
foreach(set ${TALWEG_KERNEL_SETS})
  tw_kernels_for(
    ${set}
    NAME sums_${set}
    SOURCES ${PROJECT_SOURCE_DIR}/common/tensor/kernels.c
    SYMBOLS tw_sum_tree tw_divide tw_all_finite tw_block_sums_of_squares
    FLAGS ${TALWEG_FLAGS_${set}})
  list(APPEND objects $<TARGET_OBJECTS:sums_${set}>)
endforeach()
tw_test(test_kernels unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_kernels.c ${objects} ROOMS tw_tensor)
