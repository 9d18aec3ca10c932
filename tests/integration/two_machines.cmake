# Several machines: network namespaces; and the page that says how it is done by hand.
foreach(name machines page_two_machines)
  add_test(NAME integration/${name}
           COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/integration/${name}.py)
  set_tests_properties(
    integration/${name} PROPERTIES LABELS integration TIMEOUT ${TALWEG_TEST_SECONDS} SKIP_RETURN_CODE 77
                                   ENVIRONMENT "TALWEG=$<TARGET_FILE:talweg>")
endforeach()
