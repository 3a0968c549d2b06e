// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[allow(dead_code)]
fn data(mapping: &Mapping) {
    mapping.size();
    mapping.data(); //~ error[E0599]
}
