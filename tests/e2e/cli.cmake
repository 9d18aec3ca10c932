# The real program from end to end.
foreach(
  name
  bench
  corrections
  curves
  decks
  ending
  hogwild
  from_run
  landscape
  checkpoints
  losses
  models
  memory
  optimizers
  predict
  replay
  servers
  simulator
  timeline
  training
  twin
  usage
)
  add_test(NAME e2e/${name} COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/e2e/${name}.py)
  set_tests_properties(e2e/${name} PROPERTIES LABELS e2e TIMEOUT ${TALWEG_TEST_SECONDS} ENVIRONMENT
                                              "TALWEG=$<TARGET_FILE:talweg>")
endforeach()
