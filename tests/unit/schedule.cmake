# Tests of the schedules.
foreach(what schedule schedule_words)
  tw_test(test_${what} unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_${what}.c ROOMS tw_server_core)
endforeach()
