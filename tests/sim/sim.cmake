# The virtual cluster, and the campaigns that run in it.
set(sim ${CMAKE_CURRENT_LIST_DIR})
add_library(virtual_cluster STATIC ${sim}/cluster.c ${sim}/wire.c ${sim}/servers.c ${sim}/workers.c ${sim}/lies.c ${sim}/oracle.c ${sim}/arrivals.c ${sim}/mirror.c ${sim}/scorers.c
            lib/frame_samples.c)
target_link_libraries(virtual_cluster PUBLIC tw_server_core tw_worker_core tw_sim PkgConfig::CMOCKA)
tw_test(test_bits sim SOURCES ${sim}/test_bits.c ROOMS virtual_cluster)
tw_test(test_cluster sim SOURCES ${sim}/test_cluster.c ROOMS virtual_cluster)
tw_test(test_evaluators sim SOURCES ${sim}/test_evaluators.c ROOMS virtual_cluster)
tw_test(test_tight sim SOURCES ${sim}/test_tight.c ROOMS virtual_cluster)
tw_test(test_laws sim SOURCES ${sim}/test_laws.c ROOMS world_desk LIBRARIES m)
tw_test(test_laws_of_moments sim SOURCES ${sim}/test_laws_of_moments.c ROOMS world_desk LIBRARIES m)
tw_test(test_laws_of_staleness sim SOURCES ${sim}/test_laws_of_staleness.c ROOMS world_desk LIBRARIES m)
tw_test(test_corrections sim SOURCES ${sim}/test_corrections.c ROOMS world_desk LIBRARIES m)
tw_test(test_laws_of_time sim SOURCES ${sim}/test_laws_of_time.c ROOMS world_desk LIBRARIES m)
