# Build rules shared by every module: flags, sanitizers, libraries, and posthouse_module().
set(POSTHOUSE_SANITIZE "" CACHE STRING "Sanitizers for -fsanitize=, for example address,undefined")
option(POSTHOUSE_FUZZ "Build the libFuzzer targets" OFF)

add_library(posthouse_flags INTERFACE)
target_include_directories(posthouse_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(posthouse_flags INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wformat=2 -Wimplicit-fallthrough -Wthread-safety -Werror
  -fstack-protector-strong -fcf-protection=full -ffile-prefix-map=${CMAKE_SOURCE_DIR}=.)
target_compile_definitions(posthouse_flags INTERFACE
  POSTHOUSE_VERSION="${PROJECT_VERSION}"
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED)
target_link_options(posthouse_flags INTERFACE -fuse-ld=lld -Wl,-z,relro,-z,now,-z,noexecstack)
if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  target_compile_options(posthouse_flags INTERFACE -gsplit-dwarf -fdebug-types-section)
endif()
if(POSTHOUSE_SANITIZE)
  target_compile_options(posthouse_flags INTERFACE -fsanitize=${POSTHOUSE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(posthouse_flags INTERFACE -fsanitize=${POSTHOUSE_SANITIZE})
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(posthouse_flags INTERFACE
    -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -D_GLIBCXX_ASSERTIONS -fstack-clash-protection -ftrivial-auto-var-init=zero)
endif()
if(POSTHOUSE_FUZZ)
  target_compile_options(posthouse_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

find_package(OpenSSL 3 REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(ZLIB REQUIRED)
find_package(EXPAT REQUIRED)
find_package(Poco REQUIRED COMPONENTS Foundation Net NetSSL JSON)
find_package(CLI11 REQUIRED)
# libunbound.pc needs libevent.pc, which we do not use: the plain library is found by name.
foreach(name sodium sqlite3 unbound zstd deflate icuuc icui18n icudata spdlog)
  find_library(POSTHOUSE_LIB_${name} ${name} REQUIRED)
endforeach()

# posthouse_module(NAME smtp SOURCES a.cpp b.cpp USES protocols_base ... LIBS OpenSSL::SSL ...)
# A static library of one room.
function(posthouse_module)
  cmake_parse_arguments(M "" "NAME" "SOURCES;USES;LIBS" ${ARGN})
  set(target posthouse_${M_NAME})
  add_library(${target} STATIC ${M_SOURCES})
  target_link_libraries(${target} PUBLIC posthouse_flags)
  foreach(use ${M_USES})
    target_link_libraries(${target} PUBLIC posthouse_${use})
  endforeach()
  target_link_libraries(${target} PRIVATE ${M_LIBS})
  # A sanitizer tree spends a third of its time on these rooms, whose tests compute little: not optimized, they compile in
  # two thirds of it.
  if(POSTHOUSE_SANITIZE AND M_NAME MATCHES "^(admin|server)")
    target_compile_options(${target} PRIVATE -O0)
  endif()
endfunction()

# With POSTHOUSE_PCH every target below the given folder reads the standard library, fmt and Asio's awaitable from one
# precompiled header: a quarter of the compiling of a sanitizer tree. The debug build goes without it, and so
# still finds the file that forgot an include (of the tests: only `tests/run fast` builds those there).
option(POSTHOUSE_PCH "Precompile what nearly every file includes (the sanitizer presets)" OFF)
if(POSTHOUSE_PCH)
  set(CMAKE_CXX_COMPILE_OPTIONS_PIE ${CMAKE_CXX_COMPILE_OPTIONS_PIC})  # programs and libraries share the header
  file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/precompiled.cpp CONTENT "")
  foreach(name posthouse_precompiled posthouse_precompiled_for_tests)
    add_library(${name} OBJECT ${CMAKE_BINARY_DIR}/precompiled.cpp)
    target_link_libraries(${name} PRIVATE posthouse_flags fmt::fmt Poco::Foundation)  # for its definitions
    target_precompile_headers(${name} PRIVATE
      <algorithm> <array> <atomic> <charconv> <chrono> <condition_variable> <coroutine> <cstdint> <cstring> <deque>
      <expected> <filesystem> <fstream> <functional> <map> <memory> <mutex> <optional> <random> <set> <span> <sstream>
      <string> <string_view> <thread> <unordered_map> <unordered_set> <utility> <variant> <vector>
      <fmt/chrono.h> <fmt/format.h> <boost/asio/any_io_executor.hpp> <boost/asio/awaitable.hpp>)
  endforeach()
  target_compile_options(posthouse_precompiled_for_tests PRIVATE -O0)
  target_compile_options(posthouse_flags INTERFACE "SHELL:-Xclang -fno-pch-timestamp")  # for ccache
endif()

function(posthouse_use_precompiled folder)
  get_property(targets DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target ${targets})
    get_target_property(type ${target} TYPE)
    if(type MATCHES "^(STATIC_LIBRARY|OBJECT_LIBRARY|EXECUTABLE)$" AND NOT target MATCHES "^posthouse_precompiled")
      get_target_property(options ${target} COMPILE_OPTIONS)
      if("-O0" IN_LIST options)
        target_precompile_headers(${target} REUSE_FROM posthouse_precompiled_for_tests)
      else()
        target_precompile_headers(${target} REUSE_FROM posthouse_precompiled)
      endif()
      if(type STREQUAL "EXECUTABLE")
        target_link_libraries(${target} PRIVATE posthouse_protocols_net)  # holds what the header names of Asio
      endif()
    endif()
  endforeach()
  get_property(folders DIRECTORY ${folder} PROPERTY SUBDIRECTORIES)
  foreach(below ${folders})
    posthouse_use_precompiled(${below})
  endforeach()
endfunction()
