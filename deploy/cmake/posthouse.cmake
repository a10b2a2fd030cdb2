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
# A static library of one room. Headers are compiled alone by the target all_verify_interface_header_sets.
function(posthouse_module)
  cmake_parse_arguments(M "" "NAME" "SOURCES;USES;LIBS" ${ARGN})
  set(target posthouse_${M_NAME})
  add_library(${target} STATIC ${M_SOURCES})
  target_link_libraries(${target} PUBLIC posthouse_flags)
  foreach(use ${M_USES})
    target_link_libraries(${target} PUBLIC posthouse_${use})
  endforeach()
  target_link_libraries(${target} PRIVATE ${M_LIBS})
endfunction()
