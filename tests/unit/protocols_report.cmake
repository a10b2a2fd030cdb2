posthouse_unit_test(NAME protocols_report ONE_THREAD
  SOURCES protocols/report/bounce_conformance_test.cpp protocols/report/report_conformance_test.cpp
    protocols/report/report_test.cpp
  USES protocols_report test_json)
target_link_libraries(unit_protocols_report PRIVATE ZLIB::ZLIB)
