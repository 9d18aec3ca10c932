# Tests of cli/.
tw_test(test_bench_numbers unit SOURCES unit/test_bench_numbers.c ROOMS tw_cli)
tw_test(test_progress unit SOURCES unit/test_progress.c ROOMS tw_cli)
tw_test(test_report_json unit SOURCES unit/test_report_json.c ROOMS tw_cli)
tw_test(test_status_text unit SOURCES unit/test_status_text.c ROOMS tw_cli)
tw_test(test_token unit SOURCES unit/test_token.c ROOMS tw_cli)
tw_test(test_log_history unit SOURCES unit/test_log_history.c ROOMS tw_cli)
tw_test(test_timeline unit SOURCES unit/test_timeline.c ROOMS tw_cli)
