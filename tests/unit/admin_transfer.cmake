posthouse_unit_test(NAME admin_transfer
  SOURCES admin/transfer/crlf_test.cpp admin/transfer/export_test.cpp admin/transfer/folder_names_test.cpp
          admin/transfer/maildir_test.cpp admin/transfer/mbox_test.cpp admin/transfer/taker_test.cpp
  USES admin_transfer)
