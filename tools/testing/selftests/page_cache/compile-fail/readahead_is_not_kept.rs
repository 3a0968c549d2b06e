// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[allow(dead_code)]
fn keep(_folios: Readahead<'static>) {}

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = ();

    fn readahead(_mapping: &Mapping<Self>, folios: Readahead<'_>) {
        folios.len();
        keep(folios); //~ error[E0521]
    }
}
