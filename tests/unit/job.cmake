# Tests of common/job.
tw_test(test_options unit SOURCES unit/test_options.c ROOMS tw_job)
tw_test(test_job unit SOURCES unit/test_job.c ROOMS tw_job)
tw_test(test_job_data unit SOURCES unit/test_job_data.c ROOMS tw_job)
tw_test(test_job_errors unit SOURCES unit/test_job_errors.c ROOMS tw_job)
tw_test(test_job_slots unit SOURCES unit/test_job_slots.c ROOMS tw_job)
tw_test(test_job_write unit SOURCES unit/test_job_write.c ROOMS tw_job LIBRARIES m)
tw_test(test_job_golden unit SOURCES unit/test_job_golden.c ROOMS tw_job)
