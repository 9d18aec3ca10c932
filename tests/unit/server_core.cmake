# Tests of server/core; its update rules are in optimizer.cmake.
foreach(what dial imposed sequencer clocks membership evaluation shard shard_weights session node node_work
        node_operator late cancel checkpoint shard_checkpoint shard_turn shard_encoding turn waiting
        timesheet
        tempo absence order_check letters clip ratios shard_squares admission shard_pool stop
        goes_on scalars correction stale shard_arrival shard_correct portions node_evaluator
        arrays)
  tw_test(test_${what} unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_${what}.c ROOMS tw_server_core)
endforeach()

# The kernels of corrections once more for one instruction set each, as in optimizer.cmake.
include(${CMAKE_CURRENT_LIST_DIR}/../lib/kernel_sets.cmake)
tw_kernel_sets(corrections SOURCES ${PROJECT_SOURCE_DIR}/server/core/correction_dc_asgd.c
               ${PROJECT_SOURCE_DIR}/server/core/correction_gap_aware.c
               ${PROJECT_SOURCE_DIR}/server/core/correction_dana.c SYMBOLS tw_correction_dc_asgd
               tw_correction_dc_asgd_adaptive tw_correction_gap_aware tw_correction_dana)
tw_test(test_correction_kernels unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_correction_kernels.c
        ${corrections_objects} ROOMS tw_server_core)
