posthouse_unit_test(NAME admin_transfer
  SOURCES admin/transfer/crlf_test.cpp admin/transfer/folder_names_test.cpp admin/transfer/taker_test.cpp
  USES admin_transfer)
