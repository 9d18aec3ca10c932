# Tests of common/base.
tw_test(test_status unit SOURCES unit/test_status.c ROOMS tw_base)
tw_test(test_arith unit SOURCES unit/test_arith.c ROOMS tw_base)
tw_test(test_philox unit SOURCES unit/test_philox.c ROOMS tw_base)
tw_test(test_rng unit SOURCES unit/test_rng.c ROOMS tw_base)
tw_test(test_realmath unit SOURCES unit/test_realmath.c ROOMS tw_base)
tw_test(test_digest unit SOURCES unit/test_digest.c ROOMS tw_base)
tw_test(test_text unit SOURCES unit/test_text.c ROOMS tw_base)
tw_test(test_json unit SOURCES unit/test_json.c ROOMS tw_base)
tw_test(test_file unit SOURCES unit/test_file.c ROOMS tw_base)
tw_test(test_tree_sum unit SOURCES unit/test_tree_sum.c ROOMS tw_base)
tw_test(test_say unit SOURCES unit/test_say.c ROOMS tw_base)

# Optional (package librandom123-dev): our Philox beside its authors' own.
find_path(RANDOM123_INCLUDE Random123/philox.h)
if(RANDOM123_INCLUDE)
  tw_test(test_random123 unit SOURCES unit/test_random123.c ROOMS tw_base)
  target_include_directories(test_random123 SYSTEM PRIVATE ${RANDOM123_INCLUDE})
endif()
