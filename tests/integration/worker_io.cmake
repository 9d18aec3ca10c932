# Tests of worker/io.
tw_test(test_libtalweg integration SOURCES integration/test_libtalweg.c integration/fake_server.c
        ROOMS tw_worker_io THREADS)
