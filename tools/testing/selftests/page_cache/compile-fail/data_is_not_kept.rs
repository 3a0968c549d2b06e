// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

#[allow(dead_code)]
fn keep(_data: &'static u8) {}

#[vtable]
impl AddressSpaceOperations for Case {
    type Data = KBox<u8>;

    fn bmap(mapping: &Mapping<Self>, _block: u64) -> Option<u64> {
        keep(mapping.data()); //~ error[E0521]
        Some((*mapping.data()).into())
    }
}
