posthouse_unit_test(NAME server_returns SOURCES server/returns/late_report_test.cpp server/returns/role_mail_test.cpp USES server_returns)
