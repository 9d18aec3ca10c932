# Jobs on all kinds of data, from end to end.
add_executable(least_squares ${CMAKE_CURRENT_LIST_DIR}/least_squares.c)
target_link_libraries(least_squares PRIVATE tw_data tw_nn m)
add_test(NAME e2e/data COMMAND /usr/bin/python3 ${CMAKE_CURRENT_LIST_DIR}/data.py)
set_tests_properties(
  e2e/data PROPERTIES LABELS e2e TIMEOUT ${TALWEG_TEST_SECONDS} ENVIRONMENT
                      "TALWEG=$<TARGET_FILE:talweg>;LEAST_SQUARES=$<TARGET_FILE:least_squares>")
