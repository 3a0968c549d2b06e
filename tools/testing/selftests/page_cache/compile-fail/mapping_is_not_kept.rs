// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[allow(dead_code)]
fn keep(_mapping: &'static Mapping<Case>) {}

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = ();

    fn bmap(mapping: &Mapping<Self>, _block: u64) -> Option<u64> {
        let _ = mapping.id();
        keep(mapping); //~ error[E0521]
        None
    }
}
