def pytest_report_header(config):
    return "a header"
