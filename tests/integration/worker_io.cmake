# Tests of worker/io.
tw_test(test_libtalweg integration SOURCES integration/test_libtalweg.c integration/fake_server.c
        ROOMS tw_worker_io THREADS)
tw_test(test_libtalweg_begin integration SOURCES integration/test_libtalweg_begin.c
        integration/fake_server.c ROOMS tw_worker_io THREADS)
tw_test(test_train integration SOURCES integration/test_train.c integration/fake_server.c
        ROOMS tw_worker_io THREADS)

tw_test(test_shares unit SOURCES unit/test_shares.c ROOMS tw_worker_io)

# The real server, spoken to by stock libraries; and by the example.
foreach(name protocol_client own_gradient)
  add_test(NAME integration/${name}
           COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/integration/${name}.py)
  set_tests_properties(
    integration/${name}
    PROPERTIES LABELS integration TIMEOUT ${TALWEG_TEST_SECONDS} ENVIRONMENT
               "TALWEG=$<TARGET_FILE:talweg>;OWN_GRADIENT=${PROJECT_BINARY_DIR}/examples/own_gradient")
endforeach()
