# Objectives without data, and the rules on them.
tw_test(test_objective unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_objective.c ROOMS tw_nn
        tw_server_core LIBRARIES m)
