posthouse_unit_test(NAME server_web
  SOURCES server/web/web_test.cpp
  USES server_web storage_pages test_support)
