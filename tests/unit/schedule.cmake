# Tests of the schedules, and of what else is done around the rules.
foreach(what schedule schedule_words shaping)
  tw_test(test_${what} unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_${what}.c ROOMS tw_server_core)
endforeach()
