// SPDX-License-Identifier: GPL-2.0

// What each case begins with. It is not a case itself.

#[allow(unused_imports)]
use kernel::{
    alloc::Flags,
    fs::LocalFile,
    mm::page_cache::{
        io::*,
        *, //
    },
    prelude::*, //
};

module! {
    type: NoModule,
    name: "compile_fail",
    description: "Is compiled, or is not, and never loaded",
    license: "GPL",
}

struct NoModule;

impl kernel::Module for NoModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}

#[allow(dead_code)]
struct Case;
