# What `cmake --install` puts down: one archive libflame.a with client and service side, its headers and its CMake
# package (find_package(flame) -> flame::client, flame::service), and the executables.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Of proto and runtime only the objects that are referenced are pulled in by a user's linker, so that of all our
# dependencies a client needs libzmq and a service none.
set(FLAME_ARCHIVE ${PROJECT_BINARY_DIR}/libflame.a)
set(flame_parts flame_client flame_service flame_proto flame_runtime)
set(flame_merge "create ${FLAME_ARCHIVE}\n")
foreach(part ${flame_parts})
  string(APPEND flame_merge "addlib $<TARGET_FILE:${part}>\n")
endforeach()
string(APPEND flame_merge "save\nend\n")
file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/libflame.mri CONTENT "${flame_merge}")
add_custom_command(OUTPUT ${FLAME_ARCHIVE}
  COMMAND ${CMAKE_COMMAND} -E rm -f ${FLAME_ARCHIVE}
  COMMAND ${CMAKE_AR} -M < ${PROJECT_BINARY_DIR}/libflame.mri
  DEPENDS ${flame_parts} ${PROJECT_BINARY_DIR}/libflame.mri
  VERBATIM)
add_custom_target(flame_archive ALL DEPENDS ${FLAME_ARCHIVE})

set(FLAME_CMAKE_FOLDER ${CMAKE_INSTALL_LIBDIR}/cmake/flame)
configure_package_config_file(cmake/flameConfig.cmake.in ${PROJECT_BINARY_DIR}/flameConfig.cmake
  INSTALL_DESTINATION ${FLAME_CMAKE_FOLDER} PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
# Until 1.0 a minor version may break the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/flameConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)

install(FILES ${FLAME_ARCHIVE} DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY client/cpp/include/flame DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.hpp")
install(FILES ${PROJECT_BINARY_DIR}/flameConfig.cmake ${PROJECT_BINARY_DIR}/flameConfigVersion.cmake
  DESTINATION ${FLAME_CMAKE_FOLDER})
install(TARGETS flmctl flmping flmexec flame-broker flame-executor flame-service
  DESTINATION ${CMAKE_INSTALL_BINDIR})
