# Debian 12's packages, found as they are shipped there. A vendor header is included in one .cpp each, so its
# target is linked PRIVATE where that file lives.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(tl-expected REQUIRED)
find_package(cppzmq REQUIRED)
find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
find_package(Boost 1.74 REQUIRED COMPONENTS program_options)
find_package(nlohmann_json REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(CURL 7.85 REQUIRED)
pkg_check_modules(hiredis REQUIRED IMPORTED_TARGET hiredis)
pkg_check_modules(httplib REQUIRED IMPORTED_TARGET cpp-httplib)
find_package(prometheus-cpp REQUIRED COMPONENTS core)

# msgpack C++ is header-only here; its CMake file has the same name as the C library's.
find_path(MSGPACK_INCLUDE msgpack.hpp REQUIRED)
add_library(flame_msgpack INTERFACE)
target_include_directories(flame_msgpack SYSTEM INTERFACE ${MSGPACK_INCLUDE})
target_compile_definitions(flame_msgpack INTERFACE MSGPACK_NO_BOOST)

if(FLAME_GRPC)
  find_program(PROTOC protoc REQUIRED)
endif()
