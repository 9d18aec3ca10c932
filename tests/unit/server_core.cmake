# Tests of server/core; its update rules are in optimizer.cmake.
foreach(what dial sequencer clocks membership evaluation shard shard_weights session node node_work
        node_operator late cancel checkpoint shard_checkpoint shard_turn shard_encoding turn waiting
        tempo absence order_check letters clip ratios shard_squares admission shard_pool stop
        goes_on correction stale)
  tw_test(test_${what} unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_${what}.c ROOMS tw_server_core)
endforeach()
