# What a run says of itself while it goes on.
add_test(NAME e2e/status COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/e2e/status.py)
set_tests_properties(e2e/status PROPERTIES LABELS e2e TIMEOUT ${TALWEG_TEST_SECONDS} ENVIRONMENT
                                           "TALWEG=$<TARGET_FILE:talweg>")
