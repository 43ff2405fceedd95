# flmctl up, down and status: a library of its own, so that its tests link without the rest of flmctl.
add_library(flame_flmctl_up STATIC
  cluster_folder.cpp
  cluster_folder_json.cpp
  log_file.cpp
  status.cpp
  supervisor.cpp
  supervisor_control.cpp
  supervisor_core.cpp
  supervisor_probe.cpp
  supervisor_process.cpp
  supervisor_redis.cpp
  up.cpp
  up_ports.cpp
  up_request.cpp
  up_text.cpp
)
target_link_libraries(flame_flmctl_up PUBLIC flame_runtime PRIVATE nlohmann_json::nlohmann_json)
