posthouse_unit_test(NAME server_smtp
  SOURCES server/smtp/session_test.cpp
  USES server_smtp)
