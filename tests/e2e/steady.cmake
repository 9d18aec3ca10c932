# What servers ask of the system while they work.
add_library(count_mallocs MODULE lib/count_mallocs.c)
set_target_properties(count_mallocs PROPERTIES C_VISIBILITY_PRESET default)
# It is loaded before the sanitizer, and so may not need it.
target_compile_options(count_mallocs PRIVATE -fno-sanitize=all)
target_link_options(count_mallocs PRIVATE -fno-sanitize=all)
if(TALWEG_SANITIZE MATCHES address)
  target_compile_definitions(count_mallocs PRIVATE COUNT_BY_HOOK)
endif()
add_test(NAME e2e/steady COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/e2e/steady.py)
set_tests_properties(
  e2e/steady
  PROPERTIES LABELS e2e TIMEOUT ${TALWEG_TEST_SECONDS} ENVIRONMENT
             "TALWEG=$<TARGET_FILE:talweg>;TALWEG_COUNT_MALLOCS=$<TARGET_FILE:count_mallocs>")
