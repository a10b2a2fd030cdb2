posthouse_unit_test(NAME server_smtp
  SOURCES server/smtp/content_test.cpp server/smtp/header_rules_test.cpp server/smtp/model_test.cpp server/smtp/session_test.cpp
  USES server_smtp)
