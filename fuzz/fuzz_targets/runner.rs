#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pyox_fuzz::runner(data));
