# Tests of sim/.
tw_test(test_replay unit SOURCES unit/test_replay.c ROOMS tw_sim LIBRARIES m)
tw_test(test_agenda unit SOURCES unit/test_agenda.c ROOMS tw_sim)
tw_test(test_delay unit SOURCES unit/test_delay.c ROOMS tw_sim LIBRARIES m)
add_library(world_desk STATIC lib/world_desk.c)
target_link_libraries(world_desk PUBLIC tw_sim PkgConfig::CMOCKA)
tw_test(test_world unit SOURCES unit/test_world.c ROOMS world_desk LIBRARIES m)
tw_test(test_inputs unit SOURCES unit/test_inputs.c ROOMS tw_sim)
tw_test(test_delay_times unit SOURCES unit/test_delay_times.c ROOMS tw_sim LIBRARIES m)
