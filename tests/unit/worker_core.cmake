# Tests of worker/core.
tw_test(test_client unit SOURCES unit/test_client.c ROOMS tw_worker_core)
tw_test(test_client_portions unit SOURCES unit/test_client_portions.c ROOMS tw_worker_core)
tw_test(test_client_cancel unit SOURCES unit/test_client_cancel.c ROOMS tw_worker_core)
tw_test(test_client_begin unit SOURCES unit/test_client_begin.c ROOMS tw_worker_core)
tw_test(test_client_encoding unit SOURCES unit/test_client_encoding.c ROOMS tw_worker_core)
tw_test(test_client_wrong unit SOURCES unit/test_client_wrong.c ROOMS tw_worker_core)
tw_test(test_client_campaign unit SOURCES unit/test_client_campaign.c ROOMS tw_worker_core)
tw_test(test_measures unit SOURCES unit/test_measures.c ROOMS tw_worker_core)
