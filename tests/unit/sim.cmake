# Tests of sim/.
tw_test(test_replay unit SOURCES unit/test_replay.c ROOMS tw_sim LIBRARIES m)
