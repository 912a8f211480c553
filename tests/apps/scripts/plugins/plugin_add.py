def run(number):
    return number + 1
