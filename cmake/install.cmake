# What `cmake --install` puts down: one archive libflame.a with client and service side, its headers, its CMake package
# (find_package(flame) -> flame::client, flame::service), flame.pc for pkg-config, and the executables. With
# -DFLAME_SHARED=ON also libflame.so (flame::shared).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Of proto and runtime only the objects that are referenced are pulled in by a user's linker, so that of all our
# dependencies a client needs libzmq and yaml-cpp (the context file), and a service none.
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

# The same as one shared library. Only what the public headers declare is visible (cmake/flame.map): the rest of ours may
# change, and a program may have another msgpack or YAML library. Until 1.0 a minor version may break the interface.
if(FLAME_SHARED)
  file(WRITE ${PROJECT_BINARY_DIR}/libflame.cpp "// All of it comes from the archives.\n")
  add_library(flame_shared SHARED ${PROJECT_BINARY_DIR}/libflame.cpp)
  set_target_properties(flame_shared PROPERTIES OUTPUT_NAME flame
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
    LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/flame.map)
  target_link_libraries(flame_shared PRIVATE $<LINK_LIBRARY:WHOLE_ARCHIVE,flame_client>
    $<LINK_LIBRARY:WHOLE_ARCHIVE,flame_service>)
  target_link_options(flame_shared PRIVATE -Wl,--as-needed -Wl,--no-undefined
    -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/flame.map)
  install(TARGETS flame_shared DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)
endif()

# pkg-config knows one list: who links the archive needs libzmq and yaml-cpp beside it, who links the shared library does not.
set(FLAME_PC_REQUIRES "Requires: libzmq yaml-cpp")
if(FLAME_SHARED)
  set(FLAME_PC_REQUIRES "Requires.private: libzmq yaml-cpp")
endif()
configure_file(cmake/flame.pc.in ${PROJECT_BINARY_DIR}/flame.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/flame.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT library)

set(FLAME_CMAKE_FOLDER ${CMAKE_INSTALL_LIBDIR}/cmake/flame)
configure_package_config_file(cmake/flameConfig.cmake.in ${PROJECT_BINARY_DIR}/flameConfig.cmake
  INSTALL_DESTINATION ${FLAME_CMAKE_FOLDER} PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
# Until 1.0 a minor version may break the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/flameConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)

install(FILES ${FLAME_ARCHIVE} DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY client/cpp/include/flame DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library
  FILES_MATCHING PATTERN "*.hpp")
install(FILES ${PROJECT_BINARY_DIR}/flameConfig.cmake ${PROJECT_BINARY_DIR}/flameConfigVersion.cmake
  DESTINATION ${FLAME_CMAKE_FOLDER})
install(TARGETS flmctl flmping flmexec flame-broker flame-executor flame-autoscaler flame-service
  DESTINATION ${CMAKE_INSTALL_BINDIR})
if(FLAME_GRPC)
  install(TARGETS flame-grpc-service DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
