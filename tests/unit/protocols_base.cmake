posthouse_unit_test(NAME protocols_base
  SOURCES protocols/base/ascii_test.cpp protocols/base/cursor_test.cpp protocols/base/log_test.cpp protocols/base/nearest_test.cpp protocols/base/values_test.cpp
  USES protocols_base)
