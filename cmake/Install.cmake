# What `cmake --install` puts where: the program, the client library with its one
# header and pkg-config file, and the example jobs.

install(TARGETS talweg RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(
  TARGETS talweg_library talweg_library_static
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${PROJECT_SOURCE_DIR}/worker/io/talweg.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

# talweg.pc names its prefix by the way up from itself, so that --prefix may still move it.
file(RELATIVE_PATH TALWEG_PREFIX_FROM_PC ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
     ${CMAKE_INSTALL_PREFIX})
configure_file(${PROJECT_SOURCE_DIR}/cmake/talweg.pc.in ${PROJECT_BINARY_DIR}/talweg.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/talweg.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(
  DIRECTORY ${PROJECT_SOURCE_DIR}/examples/
  DESTINATION ${CMAKE_INSTALL_DATADIR}/talweg/examples
  FILES_MATCHING
  PATTERN "*.yaml"
  PATTERN "*.c")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md
        DESTINATION ${CMAKE_INSTALL_DOCDIR})
