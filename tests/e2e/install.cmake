add_test(NAME e2e/install COMMAND ${CMAKE_CURRENT_LIST_DIR}/test_install ${PROJECT_BINARY_DIR}
                                  ${TALWEG_SANITIZE})
set_tests_properties(e2e/install PROPERTIES LABELS e2e TIMEOUT ${TALWEG_TEST_SECONDS})
