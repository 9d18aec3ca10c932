# Bits that may not change, and bad input by hand.
foreach(name accumulate averages dial elastic encodings evaluators exactness inits local_steps modes objectives schedules shaping slots steps stops trace
        wrong_by_hand)
  add_test(NAME e2e/${name} COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/e2e/${name}.py)
  set_tests_properties(
    e2e/${name} PROPERTIES LABELS e2e TIMEOUT ${TALWEG_TEST_SECONDS} SKIP_RETURN_CODE 77
                           ENVIRONMENT "TALWEG=$<TARGET_FILE:talweg>")
endforeach()

# Only with TALWEG_LONG=1.
add_test(NAME e2e/accuracy COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/e2e/accuracy.py)
set_tests_properties(
  e2e/accuracy PROPERTIES LABELS "e2e;long" TIMEOUT 3600 SKIP_RETURN_CODE 77
                          ENVIRONMENT "TALWEG=$<TARGET_FILE:talweg>")

# Workers that push in any order: a program of libtalweg.
add_executable(any_order ${CMAKE_CURRENT_LIST_DIR}/any_order.c)
target_link_libraries(any_order PRIVATE tw_worker_io)
add_test(NAME e2e/orders COMMAND /usr/bin/python3 ${CMAKE_CURRENT_LIST_DIR}/orders.py)
set_tests_properties(
  e2e/orders PROPERTIES LABELS e2e TIMEOUT ${TALWEG_TEST_SECONDS} ENVIRONMENT
                        "TALWEG=$<TARGET_FILE:talweg>;ANY_ORDER=$<TARGET_FILE:any_order>")
