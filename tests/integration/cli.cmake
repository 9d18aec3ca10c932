# The launcher with children that misbehave on command.
add_executable(fake_child lib/fake_child.c)
target_link_libraries(fake_child PRIVATE tw_cli)
tw_test(test_launcher integration SOURCES integration/test_launcher.c ROOMS tw_cli)
target_compile_definitions(test_launcher PRIVATE FAKE_CHILD="$<TARGET_FILE:fake_child>")
add_dependencies(test_launcher fake_child)

# order.log, read by stock protobuf, and what `talweg log` makes of it.
add_test(NAME integration/order_log
         COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/integration/order_log.py)
set_tests_properties(integration/order_log PROPERTIES LABELS integration TIMEOUT ${TALWEG_TEST_SECONDS} ENVIRONMENT
                                                      "TALWEG=$<TARGET_FILE:talweg>")
