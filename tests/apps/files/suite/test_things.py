import pytest


@pytest.fixture
def numbers(tmp_path):
    (tmp_path / "n").write_text("1 2")
    return [int(n) for n in (tmp_path / "n").read_text().split()]


@pytest.mark.parametrize("factor", [1, 2])
def test_sum(numbers, factor):
    assert sum(numbers) * factor == 3 * factor


def test_fails(numbers):
    total = {"total": sum(numbers)}
    assert total == {"total": 4}


def test_prints(capsys):
    print("hello")
    assert capsys.readouterr().out == "hello\n"


@pytest.mark.skip(reason="not now")
def test_skipped():
    pass
