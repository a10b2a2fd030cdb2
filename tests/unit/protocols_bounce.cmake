posthouse_unit_test(NAME protocols_bounce ONE_THREAD
  SOURCES protocols/bounce/reply_class_test.cpp protocols/bounce/reply_conformance_test.cpp protocols/bounce/reply_text_test.cpp
  USES protocols_bounce test_json)
