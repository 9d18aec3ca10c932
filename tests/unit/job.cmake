# Tests of common/job.
tw_test(test_options unit SOURCES unit/test_options.c ROOMS tw_job)
tw_test(test_job unit SOURCES unit/test_job.c ROOMS tw_job)
