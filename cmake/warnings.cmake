# Every target of ours links flame_options: language, warnings as errors, the sanitizer of the preset.
add_library(flame_options INTERFACE)
target_compile_features(flame_options INTERFACE cxx_std_20)
target_include_directories(flame_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(flame_options INTERFACE -Wall -Wextra -Wconversion -Werror
  -Wno-sign-conversion -Wno-missing-field-initializers)
# g++ 12 sees both in std::string and std::variant where there are none (GCC bugs 105329, 105562).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(flame_options INTERFACE -Wno-restrict -Wno-maybe-uninitialized)
  # In a unity build every .cpp is an included file, and a fixture in one's anonymous namespace looks like one in a header.
  if(CMAKE_UNITY_BUILD)
    target_compile_options(flame_options INTERFACE -Wno-subobject-linkage)
  endif()
endif()
set(FLAME_SANITIZE "" CACHE STRING "address,undefined or thread")
# -g1 holds what a report shows (functions and lines) and saves a third of the time to compile.
if(FLAME_SANITIZE)
  target_compile_options(flame_options INTERFACE -fsanitize=${FLAME_SANITIZE} -fno-omit-frame-pointer -g1)
  if(FLAME_SANITIZE STREQUAL "thread")
    target_compile_options(flame_options INTERFACE -Wno-tsan)
  endif()
  target_link_options(flame_options INTERFACE -fsanitize=${FLAME_SANITIZE})
endif()
