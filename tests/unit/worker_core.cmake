# Tests of worker/core.
tw_test(test_client unit SOURCES unit/test_client.c ROOMS tw_worker_core)
